"""Commands about users, groups, roles and organisations."""

from __future__ import annotations

import pytest

from gateway.commands import people
from policy.problems import Malformed
from tests.conftest import House
from tests.gateway.commands.issuing import ACTOR


async def test_users_and_groups(house: House) -> None:
    """A user's groups have to be there; passwords are not shown, and stay."""
    assert (await people.group_apply(house.core, name="lab", domains=["lab.test"], actor=ACTOR))["changed"]
    made = await people.user_apply(house.core, name="bob", groups=["lab"], roles=["approver"], actor=ACTOR)
    assert made["changed"]
    again = await people.user_apply(house.core, name="bob", groups=["lab"], roles=["approver"], actor=ACTOR)
    assert not again["changed"]
    users = {one["name"]: one for one in await people.user_list(house.core, actor=ACTOR)}
    assert users["bob"]["groups"] == ["lab"]
    assert "password" not in users["bob"]
    assert {one["name"] for one in await people.group_list(house.core, actor=ACTOR)} == {"ops", "lab"}
    with pytest.raises(Malformed, match="nowhere"):
        await people.user_apply(house.core, name="eve", groups=["nowhere"], actor=ACTOR)
