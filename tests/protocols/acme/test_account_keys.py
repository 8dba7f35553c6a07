"""Keys of accounts: weak ones, blocked ones and those of certificates are refused (traps T-22, T-23, row 25)."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from josepy import jwa
from josepy.jwk import JWKRSA

from policy.store import Unit
from tests.protocols.acme.client import Answer, Client, Key, PlainKey, b64, make_csr
from tests.protocols.acme.world import EAB_KEY, NOON, World


def close_primes() -> Key:
    """An RSA key of 2048 bits whose primes are neighbours: Fermat's method factors it at once."""
    p = (1 << 1024) - 105
    while not _prime(p):
        p -= 2
    q = p - 2
    while not _prime(q):
        q -= 2
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    halves = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, *halves, public)
    private = numbers.private_key()
    return Key(private, JWKRSA(key=private), jwa.RS256)


def _prime(number: int) -> bool:
    return all(number % small for small in (3, 5, 7, 11, 13)) and pow(2, number - 1, number) == 1


async def roll(client: Client, key: Key) -> Answer:
    """A key change, as RFC 8555 section 7.3.5 wants it."""
    url = client.url("key-change")
    payload = {"account": client.kid, "oldKey": client.key.public}
    inner = key.sign(json.dumps(payload).encode(), url)
    return await client.post(url, json.loads(inner))


async def test_t22_a_weak_account_key_is_refused(world: World, member: Client) -> None:
    """When registering and when rolling over: badPublicKey, by the same checks as for certificates. Rows: T-22."""
    weak = close_primes()
    assert (await Client(world, weak).register()).problem() == (400, "badPublicKey")
    assert (await roll(member, weak)).problem() == (400, "badPublicKey")
    assert (await roll(member, Key.ec())).status == 200


async def test_row25_the_key_of_a_certificate_is_no_account_key(world: World, member: Client) -> None:
    """RFC 8555 section 11.1, the other way round: of any certificate, whoever has it. Rows: R25."""
    private = ec.generate_private_key(ec.SECP256R1())
    await member.issue(key=private)
    key = Key.of(private)
    assert (await Client(world, key).register()).problem() == (400, "badPublicKey")
    assert (await roll(member, key)).problem() == (400, "badPublicKey")
    other = Client(world)
    await other.register()
    order = await member.ready("b.trusted.test")
    csr = make_csr(("b.trusted.test",), other.key.private)
    assert (await member.post(order.json["finalize"], {"csr": b64(csr)})).problem() == (400, "badCSR")


async def test_t23_a_blocked_key_is_no_account_key(world: World, member: Client) -> None:
    """Reported as compromised once, refused everywhere. Rows: T-23."""
    private = ec.generate_private_key(ec.SECP256R1())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    unit = Unit()
    unit.block_key(spki, "keyCompromise", NOON)
    await world.store.commit(unit)
    assert (await Client(world, Key.of(private)).register()).problem() == (400, "badPublicKey")
    assert (await roll(member, Key.of(private))).problem() == (400, "badPublicKey")


async def test_an_account_lives_with_an_ml_dsa_key(world: World) -> None:
    """Bound by EAB, a name proven with its thumbprint, rolled over to another one, the old one dead. Rows: A2."""
    client = Client(world, PlainKey(), "bound")
    assert (await client.register(externalAccountBinding=client.binding("kid-1", EAB_KEY))).status == 201
    order = await client.order("a.challenged.test")
    (url,) = order.json["authorizations"]
    one = next(each for each in (await client.post(url)).json["challenges"] if each["type"] == "http-01")
    expected = world.validators["http-01"].expected
    expected["a.challenged.test", one["token"]] = f"{one['token']}.{client.key.thumbprint}"
    assert (await client.post(one["url"], {})).json["status"] == "valid"
    done = await client.post(order.json["finalize"], {"csr": b64(make_csr(("a.challenged.test",)))})
    assert done.json["status"] == "valid"
    new = PlainKey()
    assert (await roll(client, new)).status == 200
    assert (await client.post(client.kid or "")).problem() == (401, "unauthorized")
    client.key = new
    assert (await client.post(done.header("Location"))).json["status"] == "valid"
    assert (await roll(client, Key.ec())).status == 200


@pytest.mark.parametrize("make", [Key.ec, Key.rsa, PlainKey])
async def test_good_keys_are_taken(world: World, make: object) -> None:
    """Of every kind that can sign requests."""
    assert (await Client(world, make()).register()).status == 201  # type: ignore[operator]
