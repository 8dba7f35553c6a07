"""Perspectives: processes elsewhere that validate beside this server, what they are asked and how they answer.

`wire` is the messages, `service` what a perspective does, `remote` how the coordinator asks one, `keys` the
certificates by which both know each other. Whether enough of them agree is policy/validation/perspectives.py.
"""
