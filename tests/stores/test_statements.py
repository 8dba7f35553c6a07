"""Every statement is there, compiles, takes as many parameters as the interface gives, and finds its index."""

from __future__ import annotations

import re

import apsw
import pytest

from ca_core.ledger import IssuanceStage, PublishedCRL
from ca_core.status import CertificateState, RevocationReason
from gateway.store import opening
from gateway.store.migrations import schema
from gateway.store.queries import read_statements, statements
from policy import store as interface
from policy.account import Group
from policy.audit import Checkpoint
from policy.quotas import spend
from policy.store import Job, Query, Unit
from tests.stores import values
from tests.stores.values import NOW

# Used by the store itself, not named in policy/store.
OWN = {"epoch_get", "epoch_raise", "fence_raise", "jobs_due", "jobs_lease"}

# Small tables by nature: whoever asks for all of them gets all. Open issuances have a partial index.
WHOLE = {
    "users_all",
    "domains_all",
    "demands_all",
    "key_certified",
    "groups_all",
    "roles_all",
    "organisations_all",
    "products_current",
    "mounts_all",
    "service_keys_all",
    "authorities_all",
    "crls_all",
    "issuances_open",
    "checkpoint_last",
    "certificates_unaudited",
    "certificates_by_key",
    "credential_counts",
}


def queries() -> list[Query[object]]:
    return [value for value in vars(interface).values() if isinstance(value, Query)]


def everything() -> Unit:
    """A unit with one step of each kind that the interface knows."""
    unit = Unit()
    for entity in values.one_of_each():
        unit.insert(entity)
        unit.save(entity)
    unit.credential_active("c1", NOW)
    unit.credential_spend("c1", NOW)
    unit.account_valid("a1")
    spend(unit, (Group("web", quota=5),), NOW)
    unit.product_active("tls-server")
    unit.mount_active("rest/default")
    unit.key_not_blocked(b"key")
    unit.reference_free("rest/default", "c1", "r1", NOW)
    unit.authorizations_valid(("a1",), NOW)
    unit.certificate_valid("00")
    unit.not_account_key(b"key")
    unit.account_key_fresh(b"key")
    unit.not_replaced("00")
    unit.audit(values.audited())
    values.issue(unit, values.order(), 1)
    unit.finish_issuance(values.serial_of(1), IssuanceStage.VOID)
    revoked = values.event(1, CertificateState.REVOKED, RevocationReason.KEY_COMPROMISE)
    unit.change(revoked, (CertificateState.VALID,))
    unit.publish_crl(PublishedCRL("i1", 0, 1, b"crl", NOW, NOW))
    unit.block_key(b"key", "stolen", NOW)
    unit.pause(values.PAUSE)
    unit.unpause(values.PAUSE)
    unit.put_code(values.CODE, NOW)
    unit.code_spend(values.CODE.hash, "o1", NOW)
    unit.claim("c1 create-order", "k", "d", NOW, lease=60, keep=60)
    unit.keep_answer("c1 create-order", "k", b"a")
    unit.release("c1 create-order", "k")
    unit.once("jti", "v", NOW, NOW)
    unit.put_domain(values.DOMAIN)
    unit.save_domain(values.DOMAIN)
    unit.not_blocked('["domain:example.org"]', NOW)
    unit.put_document("d1", "o1", b"paper")
    unit.tag("00", ("web",))
    unit.remove_domain("web", "example.org")
    unit.demand(values.DEMAND)
    unit.withdraw(values.DEMAND.object)
    unit.checkpoint(Checkpoint(1, b"r", (b"r",), NOW, "k", b"s"))
    unit.schedule("crl", "i1", NOW)
    unit.schedule("crl", "i1", None)
    unit.schedule_if_blocked("blocked-key", "00", NOW)
    unit.job_done(Job("crl", "i1", NOW, 1, 1))
    unit.job_again(Job("crl", "i1", NOW, 1, 1), NOW)
    return unit


SMALL = (
    r"SCAN (?!CONSTANT|json_each|wanted|listed|orders USING INDEX order_open|blocks USING COVERING INDEX block_subject)"
)


@pytest.fixture
def connection() -> apsw.Connection:
    opened = opening.open_writer(None)
    opened.execute(schema())
    opening.add_clock(opened, lambda: 0)
    return opened


def test_statements_are_those_of_the_interface() -> None:
    """Names on both sides are the same: nothing is missing, and nothing is there that nobody runs."""
    named = {query.name for query in queries()} | {step.statement for step in everything().steps}
    assert set(statements()) == named | OWN


def test_queries_have_the_parameters_of_the_interface() -> None:
    """Every Query says how many parameters its statement has."""
    said = {query.name: query.parameters for query in queries()}
    assert {name: statements()[name].parameters for name in said} == said


def test_steps_have_the_parameters_of_their_statements() -> None:
    """Every method of Unit gives its statement as many parameters as that has."""
    for step in everything().steps:
        assert len(step.parameters) == statements()[step.statement].parameters, step.statement


@pytest.mark.parametrize("name", statements())
def test_statement_compiles_and_finds_an_index(name: str, connection: apsw.Connection) -> None:
    """Every statement compiles for the schema, and none but those of small tables reads a whole one.

    The indexes of open orders are small: orders in work are few beside those that ended.
    """
    statement = statements()[name]
    parameters = ("",) * statement.parameters
    connection.execute(f"EXPLAIN {statement.sql}", parameters).fetchall()
    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", parameters).fetchall()
    scanned = [line for *_, line in plan if re.match(SMALL, str(line))]
    assert not scanned or name in WHOLE, scanned


@pytest.mark.parametrize("name", statements())
def test_statement_never_counts_or_skips(name: str) -> None:
    """No OFFSET, no count(*), no SELECT *: pages cost what they show."""
    assert re.search(r"\bOFFSET\b|count\(|\*", statements()[name].sql) is None


def test_statements_are_not_compiled_again_for_new_parameters(connection: apsw.Connection) -> None:
    """A plan does not depend on values, else tables with partial indexes have it made at every run."""
    assert connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, -1) == 1


def test_file_that_names_a_statement_twice_is_refused() -> None:
    """Two statements of one name are a mistake, not a choice."""
    with pytest.raises(ValueError, match="twice"):
        read_statements("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;\n")


def test_header_that_cannot_be_read_is_refused() -> None:
    """A header with anything after the name but "(search)" is a mistake."""
    with pytest.raises(ValueError, match="begins with"):
        read_statements("-- name: a fast\nSELECT 1;\n")
