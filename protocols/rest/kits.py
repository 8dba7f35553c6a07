"""Client kits of the API: a shell, Python, and the pipelines of two forges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from protocols.kits import Kit, KitFacts, MakeKit, request_command

_ORDER = "import json, sys; print(json.dumps({{'csr': open('{name}.csr').read(), 'product': '{product}'}}))"
_CERTIFICATE = "import json, sys; c = json.load(sys.stdin)['certificate']; print(c['pem'] + c['chain'], end='')"


def _token(facts: KitFacts) -> str:
    """What stands behind Bearer: the access key, or an access token that is fetched first."""
    return '$TOKEN"' if facts.method == "oauth" else f'{facts.quoted}"'


def _fetch(facts: KitFacts) -> tuple[str, ...]:
    if facts.method != "oauth":
        return ()
    return (
        f'TOKEN=$(curl -sf --cacert {facts.root} --user {facts.user}:"{facts.quoted}" '
        f"-d grant_type=client_credentials {facts.base_url}/oauth/token | "
        "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"access_token\"])')",
    )


def _curl(facts: KitFacts) -> Kit:
    name = facts.name
    order = _ORDER.format(name=name, product=facts.product)
    return Kit(
        (
            *_fetch(facts),
            request_command(name),
            f'python3 -c "{order}" | curl -sf --cacert {facts.root} -H "Authorization: Bearer {_token(facts)} '
            f'-H "Content-Type: application/json" --data @- {facts.base_url}/api/v1/orders | '
            f'python3 -c "{_CERTIFICATE}" > {name}.pem',
        )
    )


def _github(facts: KitFacts) -> Kit:
    steps = "\n".join(f"          {line}" for line in _curl(_in_variable(facts)).commands)
    file = f"""name: certificate
on: workflow_dispatch
jobs:
  certificate:
    runs-on: ubuntu-latest
    env:
      CERTGATE_SECRET: ${{{{ secrets.CERTGATE_SECRET }}}}
    steps:
      - uses: actions/checkout@v4
      - run: |
{steps}
"""
    return Kit((f"gh secret set CERTGATE_SECRET --body {facts.shell}",), ((".github/workflows/certificate.yml", file),))


def _gitlab(facts: KitFacts) -> Kit:
    script = "\n".join(f"    - |\n      {line}" for line in _curl(_in_variable(facts)).commands)
    file = f"""certificate:
  image: alpine
  before_script:
    - apk add curl openssl python3
  script:
{script}
  artifacts:
    paths: [{facts.name}.pem]
"""
    return Kit((f"glab variable set CERTGATE_SECRET --masked {facts.shell}",), ((".gitlab-ci.yml", file),))


def _in_variable(facts: KitFacts) -> KitFacts:
    return replace(facts, secret_from="env:CERTGATE_SECRET")  # noqa: S106 - the name of a variable


KITS: Mapping[str, MakeKit] = {"curl": _curl, "github-actions": _github, "gitlab-ci": _gitlab}
