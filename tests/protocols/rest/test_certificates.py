"""Certificates come in every form that systems take, the leaf first (W8)."""

from __future__ import annotations

import itertools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from tests.conftest import House
from tests.protocols.rest.world import API, make_csr, stranger_key


@pytest.mark.parametrize(
    "media",
    ["application/json", "application/pem-certificate-chain", "application/pkix-cert", "application/pkcs7-mime"],
)
async def test_download(api: API, media: str) -> None:
    made = (await api("POST", "/orders", {"csr": make_csr("a.certgate.test")})).json["certificate"]
    leaf = x509.load_pem_x509_certificate(made["pem"].encode())
    answer = await api("GET", f"/certificates/{made['serial']}", headers={"Accept": media})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(media)
    if media == "application/json":
        found = x509.load_pem_x509_certificates((answer.json["pem"] + answer.json["chain"]).encode())
    elif media == "application/pem-certificate-chain":
        found = x509.load_pem_x509_certificates(answer.body)
    elif media == "application/pkix-cert":
        found = [x509.load_der_x509_certificate(answer.body)]
    else:
        found = sorted(pkcs7.load_der_pkcs7_certificates(answer.body), key=lambda one: one != leaf)
    assert found[0] == leaf
    for one, above in itertools.pairwise(found):
        one.verify_directly_issued_by(above)


async def test_media_types_are_chosen_by_weight(api: API) -> None:
    made = (await api("POST", "/orders", {"csr": make_csr("a.certgate.test")})).json["certificate"]
    path = f"/certificates/{made['serial']}"
    accept = "application/json;q=0.1, application/pkix-cert;q=0.9, */*;q=0.05"
    answer = await api("GET", path, headers={"Accept": accept})
    assert x509.load_der_x509_certificate(answer.body).public_bytes(Encoding.PEM).decode() == made["pem"]
    assert (await api("GET", path, headers={"Accept": "image/png"})).code == "not-acceptable"


async def test_somebody_elses_certificate_is_not_there(api: API, house: House) -> None:
    made = (await api("POST", "/orders", {"csr": make_csr("a.certgate.test")})).json["certificate"]
    other = api.with_key(await stranger_key(house))
    answer = await other("GET", f"/certificates/{made['serial']}")
    unknown = await other("GET", f"/certificates/{'0' * 40}")
    assert answer.status == 404 and answer.body == unknown.body
