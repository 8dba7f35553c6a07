"""Permissions and roles: who may do what, and what nobody may."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.access import NOBODY, Actor, Owned
from policy.problems import Forbidden, Malformed, UnknownOrder
from policy.roles import PREDEFINED, RESOURCES, Role, Scope, every_permission, grants_of, read_permission

VERBS = [f"{name}:{verb}" for name, resource in RESOURCES.items() for verb in resource.verbs]
SCOPES = {f"{name}:{verb}": resource.scopes for name, resource in RESOURCES.items() for verb in resource.verbs}

MINE = Owned("ann", ("ops",))
MATES = Owned("bob", ("ops",))
FOREIGN = Owned("eve", ("finance",))

# role -> verbs in scope all, group, own. What is in none of the three is refused.
MATRIX: dict[str, tuple[set[str], set[str], set[str]]] = {
    "administrator": (set(VERBS), set(), set()),
    "operator": (
        {"role:read", "product:read", "mount:read"},
        {
            "user:read", "user:create", "user:change", "user:deactivate",
            "group:read",
            "organization:read", "organization:create", "organization:change", "organization:validate",
            "domain:read", "domain:create", "domain:change", "domain:verify", "domain:deactivate",
            "credential:read", "credential:create", "credential:change", "credential:rotate", "credential:suspend",
            "credential:revoke",
            "order:read", "order:place", "order:change", "order:review", "order:cancel",
            "certificate:read", "certificate:renew", "certificate:hold", "certificate:revoke",
            "certificate:tag",
            "account:read", "account:change",
        },
        set(),
    ),
    "approver": (
        {"product:read"},
        {
            "user:read", "group:read", "organization:read", "domain:read", "order:read", "order:review",
            "order:approve", "certificate:read",
        },
        set(),
    ),
    "requester": (
        {"product:read"},
        {"group:read", "organization:read", "domain:read", "domain:verify"},
        {
            "user:read", "credential:read", "credential:rotate", "order:read", "order:place", "order:change",
            "order:cancel", "certificate:read", "certificate:renew", "certificate:revoke", "certificate:hold",
            "certificate:tag", "account:read",
        },
    ),
    "auditor": ({one for one in VERBS if one.endswith(":read")}, set(), set()),
}  # fmt: skip


def actor(*roles: Role, user: str = "ann", groups: tuple[str, ...] = ("ops",), behind: Actor | None = None) -> Actor:
    return Actor(f"user:{user}", user, frozenset(groups), grants_of(roles), behind)


def test_the_matrix_is_about_every_role() -> None:
    assert set(MATRIX) == set(PREDEFINED)


@pytest.mark.parametrize(("role", "verb"), list(itertools.product(MATRIX, VERBS)))
def test_every_permission_of_every_role(role: str, verb: str) -> None:
    """What a role is not given it refuses, and what it is given reaches as far as said and no farther. Rows: T-32."""
    everybody, group, own = MATRIX[role]
    one = actor(PREDEFINED[role])
    reached = [one.reaches(verb, owned) for owned in (MINE, MATES, FOREIGN, NOBODY)]
    if verb in everybody:
        assert reached == [True] * 4
    elif verb in group:
        assert reached == [True, True, False, False]
    elif verb in own:
        assert reached == [True, False, False, False]
    else:
        assert reached == [False] * 4
        with pytest.raises(Forbidden, match=verb):
            one.check(verb)
        with pytest.raises(Forbidden, match=verb):
            one.find(verb, "there", MINE, UnknownOrder("missing"))


@given(st.frozensets(st.sampled_from([str(one) for one in every_permission()])), st.sampled_from(VERBS))
def test_nothing_is_reached_without_its_permission(granted: frozenset[str], verb: str) -> None:
    """Whatever else is granted: a verb is reached exactly when it was given. Rows: T-32."""
    one = actor(Role("some", "", tuple(granted)))
    given_it = any(text.startswith(verb + ":") or text == verb for text in granted)
    assert one.reaches(verb, FOREIGN) is given_it
    assert (one.scope(verb) is not None) is given_it


@given(
    st.sampled_from(VERBS),
    st.sampled_from(list(Scope)),
    st.builds(
        Owned,
        st.sampled_from(["", "ann", "bob"]),
        st.lists(st.sampled_from(["ops", "web", "finance"]), max_size=3).map(tuple),
    ),
)
def test_a_wider_scope_never_reaches_less(verb: str, scope: Scope, owned: Owned) -> None:
    """own ⊆ group ⊆ all."""
    scopes = SCOPES[verb]
    narrow = next((one for one in scopes if list(Scope).index(one) >= list(Scope).index(scope)), scopes[-1])
    if actor(Role("r", "", (f"{verb}:{narrow}",))).reaches(verb, owned):
        for wider in scopes[scopes.index(narrow) :]:
            assert actor(Role("r", "", (f"{verb}:{wider}",))).reaches(verb, owned)


def test_what_is_out_of_sight_answers_as_what_is_missing() -> None:
    """The very same problem; and where one may look and no more, that is said."""
    one = actor(Role("r", "", ("order:read:group", "order:cancel:own")))
    missing = UnknownOrder("there is no order 1")
    for found, owned in ((None, NOBODY), ("foreign", FOREIGN)):
        with pytest.raises(UnknownOrder) as told:
            one.find("order:cancel", found, owned, missing)
        assert told.value is missing
    with pytest.raises(Forbidden):
        one.find("order:cancel", "a mate's", MATES, missing)
    assert one.find("order:cancel", "mine", MINE, missing) == "mine"


def test_looking_needs_one_group_in_reach_and_deciding_all() -> None:
    """Who administers one group of a user does not decide for the others."""
    one = actor(PREDEFINED["operator"])
    both = Owned("bob", ("ops", "finance"))
    assert one.reaches("user:read", both)
    assert not one.reaches("user:change", both)


def test_own_objects_in_a_group_that_is_not_spoken_for_are_out_of_reach() -> None:
    """A credential of one group does not lead to its user's objects in another."""
    assert not actor(PREDEFINED["requester"]).reaches("order:read", Owned("ann", ("finance",)))


def test_in_the_name_of_somebody_only_what_both_may() -> None:
    """A portal never gets more than it has by choosing for whom it asks, nor gives more than they have."""
    portal = actor(Role("portal", "", ("order:place:group", "order:read:group")), user="portal", groups=("ops", "web"))
    for_ann = actor(PREDEFINED["requester"], behind=portal)
    assert for_ann.reaches("order:place", MINE)
    assert not for_ann.reaches("order:place", MATES)
    assert not for_ann.reaches("order:cancel", MINE)
    for_admin = actor(PREDEFINED["administrator"], user="root", behind=portal)
    assert not for_admin.reaches("order:read", FOREIGN)
    assert not for_admin.covers(PREDEFINED_GRANTS["administrator"])
    assert for_ann.users == {"ann", "portal"}


PREDEFINED_GRANTS = {name: grants_of((role,)) for name, role in PREDEFINED.items()}


def test_covering_is_about_scopes_too() -> None:
    """Nobody hands on what they have for less."""
    operator = actor(PREDEFINED["operator"])
    assert operator.covers(PREDEFINED_GRANTS["requester"])
    for more in ("administrator", "approver", "auditor"):
        assert not operator.covers(PREDEFINED_GRANTS[more])


@pytest.mark.parametrize(
    "wrong", ["", "order", "order:", "oder:read", "order:reed", "order:read:world", "role:read:own"]
)
def test_what_is_no_permission_is_refused(wrong: str) -> None:
    with pytest.raises(Malformed):
        read_permission(wrong)


def test_permissions_are_read_as_they_are_written() -> None:
    """A scope that is left out is the narrowest; one that makes no difference is not written."""
    assert str(read_permission("order:read")) == "order:read:own"
    assert str(read_permission("domain:read")) == "domain:read:group"
    assert str(read_permission("role:read")) == "role:read"
    for one in every_permission():
        assert read_permission(str(one)) == one


def test_a_stored_permission_that_is_gone_grants_nothing() -> None:
    """A newer version's permission, after going back: the rest still counts."""
    assert dict(grants_of((Role("r", "", ("order:teleport", "order:read:all")),))) == {("order", "read"): Scope.ALL}


def test_an_inactive_role_grants_nothing() -> None:
    assert not grants_of((Role("r", "", ("order:read:all",), active=False),))
