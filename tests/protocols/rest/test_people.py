"""Users, groups, roles and organisations over the API; and two groups that know nothing of each other."""

from __future__ import annotations

from typing import Any

import pytest

from policy.account import Group, Organisation, User
from policy.audit import AuditTag
from policy.domain import DomainMethod, DomainScope
from policy.roles import Role
from tests.conftest import ACTOR, House
from tests.policy.making import events
from tests.protocols.rest.world import API, access_key, make_csr


async def test_a_user_is_made_read_changed_and_stopped(api: API, house: House) -> None:
    """Every change is in the audit log with who asked; an entity tag keeps two from overwriting each other."""
    body = {"name": "bob", "groups": ["ops"], "roles": ["requester"], "email": "bob@example.org", "mobile": "+49 1"}
    made = await api("POST", "/users", body)
    assert (made.status, made.headers["Location"].partition("/api/v1")[2]) == (201, "/users/bob")
    assert made.json["status"] == "active"
    read = await api("GET", "/users/bob")
    assert read.json == made.json
    changed = await api("PATCH", "/users/bob", {"designation": "Networks"}, {"If-Match": read.headers["ETag"]})
    assert (changed.json["designation"], changed.json["email"]) == ("Networks", "bob@example.org")
    late = await api("PATCH", "/users/bob", {"designation": "Else"}, {"If-Match": read.headers["ETag"]})
    assert (late.status, late.code) == (412, "precondition-failed")
    assert (await api("PATCH", "/users/bob", {"email": None})).json["email"] is None
    stopped = await api("POST", "/users/bob/deactivate")
    assert stopped.json["status"] == "deactivated"
    assert (await api("GET", "/users?active=true")).json["items"][0]["name"] != "bob"
    assert (await api("POST", "/users/bob/activate")).json["status"] == "active"
    (event,) = await events(house, AuditTag.USER_DEACTIVATED)
    assert event.actor.startswith("user:root@")
    assert (event.object, event.detail["active"]) == ("user:bob", False)


async def test_a_deactivated_users_credentials_stop_at_once(api: API, house: House) -> None:
    other = api.with_key(await access_key(house, "alice"))
    assert (await other("GET", "/me")).status == 200
    await api("POST", "/users/alice/deactivate")
    assert (await other("GET", "/me")).status == 403
    await api("POST", "/users/alice/activate")
    assert (await other("GET", "/me")).status == 200


async def test_an_archived_group_is_no_choice_and_lets_nobody_in(api: API, house: House) -> None:
    """W13: it is listed only when asked for, and nothing new can be put into it."""
    await api("POST", "/groups", {"name": "old", "allowed_domains": ["old.test"], "quota": 5})
    await api("POST", "/users", {"name": "bob", "groups": ["old"], "roles": ["requester"]})
    other = api.with_key(await access_key(house, "bob", "old"))
    assert (await other("GET", "/me")).status == 200
    assert (await api("POST", "/groups/old/archive")).json["status"] == "archived"
    assert (await other("GET", "/me")).status == 403
    assert [one["name"] for one in (await api("GET", "/groups")).json["items"]] == ["ops"]
    assert [one["name"] for one in (await api("GET", "/groups?archived=true")).json["items"]] == ["old", "ops"]
    refused = await api("POST", "/users", {"name": "ann", "groups": ["old"]})
    assert (refused.status, "archived" in refused.json["detail"]) == (400, True)
    await api("POST", "/groups/old/restore")
    assert (await other("GET", "/me")).status == 200


async def test_groups_make_no_circle(api: API) -> None:
    await api("POST", "/groups", {"name": "above"})
    await api("POST", "/groups", {"name": "below", "parent": "above"})
    assert (await api("PATCH", "/groups/above", {"parent": "below"})).status == 400
    assert (await api("PATCH", "/groups/above", {"parent": "above"})).status == 400


async def test_roles_are_made_of_permissions_that_are_there(api: API) -> None:
    """A scope that is left out is written down as the narrowest; predefined roles stay as they are."""
    made = await api("POST", "/roles", {"name": "desk", "permissions": ["credential:read:group", "order:read"]})
    assert made.json["permissions"] == ["credential:read:group", "order:read:own"]
    wrong = await api("POST", "/roles", {"name": "d2", "permissions": ["credential:reed"]})
    assert (wrong.status, 'did you mean "read"' in wrong.json["detail"]) == (400, True)
    assert (await api("PATCH", "/roles/auditor", {"title": "x"})).status == 403
    assert (await api("GET", "/roles/auditor")).json["predefined"] is True
    listed = (await api("GET", "/roles?limit=500")).json["items"]
    assert {"administrator", "operator", "approver", "requester", "auditor", "desk"} == {one["name"] for one in listed}
    permissions = (await api("GET", "/permissions?limit=500")).json["items"]
    assert {"permission": "role:read", "scopes": ["all"]}.items() <= next(
        one for one in permissions if one["permission"] == "role:read"
    ).items()


async def test_a_deactivated_role_takes_its_permissions_away_at_once(api: API, house: House) -> None:
    await api("POST", "/roles", {"name": "reader", "permissions": ["user:read:all"]})
    await api("POST", "/users", {"name": "bob", "groups": ["ops"], "roles": ["reader"]})
    other = api.with_key(await access_key(house, "bob"))
    assert (await other("GET", "/users")).status == 200
    await api("POST", "/roles/reader/deactivate")
    assert (await other("GET", "/users")).status == 403


async def test_an_organisation_is_vouched_for_until_its_data_changes(api: API) -> None:
    """pending, validated, and pending again with new legal data."""
    body = {"name": "acme", "title": "ACME Ltd", "country": "DE", "group": "ops"}
    assert (await api("POST", "/organizations", body)).json["status"] == "pending"
    vouched = await api("POST", "/organizations/acme/validate", {"until": "2027-11-01T00:00:00Z"})
    assert (vouched.json["status"], vouched.json["validated_by"][:10]) == ("validated", "user:root@")
    late = await api("POST", "/organizations/acme/validate", {"until": "2040-01-01T00:00:00Z"})
    assert (late.status, late.pointers) == (400, ["/until"])
    agreed = await api("POST", "/organizations/acme/agreement", {"agreement": "terms of 2026"})
    assert (agreed.json["agreement"], agreed.json["status"]) == ("terms of 2026", "validated")
    assert (await api("PATCH", "/organizations/acme", {"locality": "Berlin"})).json["status"] == "pending"
    assert (await api("PATCH", "/organizations/acme", {"country": "Germany"})).status == 422
    assert (await api("POST", "/organizations/acme/deactivate")).json["status"] == "inactive"
    assert "acme" not in [one["name"] for one in (await api("GET", "/organizations")).json["items"]]
    assert (await api("POST", "/organizations/acme/activate")).json["status"] == "pending"


# --------------------------------------------------------------------------- isolation


@pytest.fixture
async def two(api: API, house: House) -> tuple[API, API]:
    """Operators of two groups, each with people and things of its own."""
    people = house.core.people
    keys = []
    for group, name in (("red", "ruth"), ("blue", "bert")):
        await people.apply_group(Group(group), ACTOR)
        await house.core.organisations.apply(Organisation(f"{group}-ltd", f"{group} Ltd", group=group), ACTOR)
        await people.apply_user(User(name, (group,), ("operator", "approver")), ACTOR)
        await people.apply_user(User(f"{group}-user", (group,), ("requester",), f"u@{group}.test"), ACTOR)
        await house.core.domains.create(f"{group}.example.org", group, DomainScope.EXACT, DomainMethod.DNS_TXT, ACTOR)
        keys.append(await access_key(house, name, group))
    await people.apply_user(User("both", ("red", "blue")), ACTOR)
    return api.with_key(keys[0]), api.with_key(keys[1])


FOREIGN = {
    "users": "blue-user",
    "groups": "blue",
    "organizations": "blue-ltd",
    "domains": "blue/blue.example.org",
}


@pytest.mark.parametrize("resource", FOREIGN)
async def test_nothing_of_another_group_shows_in_lists(two: tuple[API, API], resource: str) -> None:
    red, blue = two
    for one, other in ((red, "blue"), (blue, "red")):
        answer = await one("GET", f"/{resource}")
        assert answer.status == 200
        assert answer.json["items"]
        assert other.encode() not in answer.body, "by list, whatever the field"
        exported = await one("GET", f"/{resource}", headers={"Accept": "text/csv"})
        assert other.encode() not in exported.body


REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/users/{}", None),
    ("PATCH", "/users/{}", {"designation": "x"}),
    ("POST", "/users/{}/deactivate", None),
    ("POST", "/users/{}/activate", None),
    ("GET", "/groups/{}", None),
    ("GET", "/domains/{}", None),
    ("PATCH", "/domains/{}", {"exclusions": []}),
    ("GET", "/domains/{}/attempts", None),
    ("POST", "/domains/{}/challenge", {}),
    ("POST", "/domains/{}/verify", None),
    ("POST", "/domains/{}/deactivate", None),
    ("GET", "/organizations/{}", None),
    ("PATCH", "/organizations/{}", {"locality": "x"}),
    ("POST", "/organizations/{}/validate", {"until": "2027-01-01T00:00:00Z"}),
    ("POST", "/organizations/{}/agreement", {"agreement": "x"}),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
async def test_a_foreign_object_answers_as_one_that_is_missing(
    two: tuple[API, API], method: str, path: str, body: Any
) -> None:
    """Same status, same code, same sentence but for the name that was asked for."""
    red, _ = two
    foreign = FOREIGN[path.split("/")[1]]
    names = (foreign, "blue/nothing.example.org" if "/" in foreign else "nobody-at-all")
    answers = [await red(method, path.format(name), body) for name in names]
    assert [one.status for one in answers] == [404, 404]
    said = [
        {**one.json, "detail": one.json["detail"].replace(name.rpartition("/")[2], "NAME")}
        for one, name in zip(answers, names, strict=True)
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users", {"name": "new", "groups": ["{}"]}),
        ("/organizations", {"name": "new", "title": "New", "group": "{}"}),
    ],
)
async def test_choosing_a_foreign_group_answers_as_choosing_none(
    two: tuple[API, API], path: str, body: dict[str, Any]
) -> None:
    """By error text, too: a form does not tell which groups there are."""
    red, _ = two
    answers = []
    for name in ("blue", "nobody-at-all"):
        filled = {key: [name] if value == ["{}"] else name if value == "{}" else value for key, value in body.items()}
        answer = await red("POST", path, filled)
        answers.append((answer.status, answer.json["detail"].replace(name, "NAME")))
    assert answers[0] == answers[1]


async def test_who_is_in_two_groups_is_seen_in_one(two: tuple[API, API]) -> None:
    """With that group only; and one group does not decide for the other."""
    red, _ = two
    answer = await red("GET", "/users/both")
    assert answer.json["groups"] == ["red"]
    assert (await red("POST", "/users/both/deactivate")).status == 403


# --------------------------------------------------------------------------- nobody gets more than they had


async def test_nobody_hands_on_more_than_they_have(two: tuple[API, API], api: API, house: House) -> None:
    """Neither by a role for a user, nor by a role made anew, nor by the credential of somebody who may more."""
    red, _ = two
    for role in ("administrator", "auditor"):
        refused = await red("POST", "/users", {"name": f"new-{role}", "groups": ["red"], "roles": [role]})
        assert (refused.status, refused.code) == (403, "forbidden")
        assert (await red("PATCH", "/users/red-user", {"roles": [role]})).status == 403
    assert (await red("POST", "/roles", {"name": "mine", "permissions": ["audit:read"]})).status == 403
    await house.core.people.apply_role(Role("maker", "", ("role:create", "role:change", "order:read:group")), ACTOR)
    await house.core.people.apply_user(User("max", ("red",), ("maker",)), ACTOR)
    maker = api.with_key(await access_key(house, "max", "red"))
    assert (await maker("POST", "/roles", {"name": "mine", "permissions": ["audit:read"]})).status == 403
    assert (await maker("POST", "/roles", {"name": "mine", "permissions": ["order:read:all"]})).status == 403
    assert (await maker("POST", "/roles", {"name": "mine", "permissions": ["order:read:group"]})).status == 201
    await house.core.people.apply_user(User("boss", ("red",), ("administrator",)), ACTOR)
    assert (await red("POST", "/users/boss/deactivate")).status == 403


async def test_a_group_does_not_widen_its_own_limits(api: API, house: House) -> None:
    """Only who administers the group above; titles and tags are its own affair."""
    await house.core.people.apply_role(Role("grouper", "", ("group:read:group", "group:change:group")), ACTOR)
    await house.core.people.apply_group(Group("red", domains=("red.test",)), ACTOR)
    await house.core.people.apply_group(Group("deep", parent="red"), ACTOR)
    await house.core.people.apply_user(User("max", ("red",), ("grouper",)), ACTOR)
    red = api.with_key(await access_key(house, "max", "red"))
    assert (await red("PATCH", "/groups/red", {"tags": ["a"]})).status == 200
    changes: tuple[dict[str, Any], ...] = ({"allowed_domains": []}, {"quota": 9}, {"allowed_products": ["tls"]})
    for change in changes:
        assert (await red("PATCH", "/groups/red", change)).status == 403
        assert (await red("PATCH", "/groups/deep", change)).status == 200


# --------------------------------------------------------------------------- in the name of a user


async def test_a_portal_asks_in_the_name_of_a_user_and_both_are_audited(api: API, house: House) -> None:
    """What both may and nothing else; without the permission to, for nobody."""
    permissions = ("user:act-for:group", "user:read:group", "user:change:group")
    await house.core.people.apply_role(Role("portal", "", permissions), ACTOR)
    await house.core.people.apply_role(Role("self", "", ("user:read:own", "user:change:own")), ACTOR)
    await house.core.people.apply_user(User("portal", ("ops",), ("portal",)), ACTOR)
    await house.core.people.apply_user(User("ann", ("ops",), ("self",)), ACTOR)
    portal = api.with_key(await access_key(house, "portal", identifier="portal-key"))
    for_ann = {"X-On-Behalf-Of": "ann"}
    listed = (await portal("GET", "/users", headers=for_ann)).json["items"]
    assert [one["name"] for one in listed] == ["ann"]
    assert (await portal("PATCH", "/users/ann", {"mobile": "1"}, for_ann)).status == 200
    assert (await portal("PATCH", "/users/alice", {"mobile": "1"}, for_ann)).status == 404
    event = [one for one in await events(house, AuditTag.USER_APPLIED) if one.object == "user:ann"][-1]
    assert event.actor == "user:ann by user:portal@portal-key"
    own = api.with_key(await access_key(house, "ann"))
    assert (await own("GET", "/me", headers={"X-On-Behalf-Of": "alice"})).status == 403
    stranger = await portal("GET", "/me", headers={"X-On-Behalf-Of": "nobody"})
    assert (stranger.status, stranger.code) == (403, "forbidden")


# --------------------------------------------------------------------------- no operation without its permission


async def test_no_operation_is_reached_without_its_permission(api: API, house: House) -> None:
    """Every operation of the document refuses a user without roles, before it looks at anything."""
    from protocols.rest.resources import OPERATIONS

    await house.core.people.apply_user(User("nobody", ("ops",)), ACTOR)
    stranger = api.with_key(await access_key(house, "nobody"))
    tried = 0
    for one in OPERATIONS:
        if one.permission is None:
            continue
        path = one.path.replace("{", "").replace("}", "")
        answer = await stranger(one.method, path, b"{" if one.body is not None else None)
        assert (answer.status, answer.code) == (403, "forbidden"), one.name
        assert one.permission in answer.json["detail"]
        tried += 1
    assert tried > 30


async def test_orders_of_another_group_are_missing(two: tuple[API, API]) -> None:
    red, blue = two
    placed = await red("POST", "/orders", {"csr": make_csr("a.certgate.test")})
    assert placed.status == 201
    for path in (f"/orders/{placed.json['id']}", f"/certificates/{placed.json['certificate']['serial']}"):
        assert (await red("GET", path)).status == 200
        assert (await blue("GET", path)).status == 404


async def test_me_says_what_may_be_asked_and_how_much_is_left(api: API, house: House) -> None:
    """User, groups, products, permissions, quotas and end: what a client has to know before it asks."""
    await house.core.people.change_group("ops", ACTOR, quota=5, products=("tls",), domains=("certgate.test",))
    await api("POST", "/orders", {"csr": make_csr("a.certgate.test")})
    me = (await api.with_key(await access_key(house, "alice"))("GET", "/me")).json
    assert (me["user"], me["group"], me["groups"], me["roles"]) == ("alice", "ops", ["ops"], ["requester"])
    assert me["quotas"] == [{"group": "ops", "limit": 5, "used": 1}]
    assert [one["name"] for one in me["products"]] == ["tls"]
    assert me["domains"] == ["certgate.test"]
    assert "order:place:own" in me["permissions"]
    assert me["acting_for"] is None
