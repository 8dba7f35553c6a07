"""REST: the API at /api/v1 (RFC 9457 problem details, RFC 8288 links, OpenAPI 3.1).

A resource is one module here. It declares what can be asked and leaves everything that is the same for all to
`endpoint`: who asks, permissions, request limits, decoding, idempotency keys, pages, exports, entity tags, problems.

    class Colour(View, frozen=True, kw_only=True):          # what a client is shown
        name: str
        created: Annotated[str, Meta(description="When it was mixed.")]

    class NewColour(Body, frozen=True, kw_only=True):       # what a client sends
        name: Annotated[str, Meta(min_length=1, max_length=40)]

    class ColourQuery(PageQuery, frozen=True, kw_only=True):    # the filters of the list
        shade: str = ""

    async def create_colour(call: Call, new: NewColour) -> Reply:
        made = await call.door.administration.mix(new.name, call.actor)
        return Reply(_view(made), location=f"/colours/{made.name}", version=made.version)

    async def list_colours(call: Call, query: ColourQuery, after: str, limit: int) -> Page:
        found = await call.door.colours.page(call.actor, after, limit, shade=query.shade)
        return Page(tuple(map(_view, found)), found[-1].name if len(found) == limit else "")

    OPERATIONS = (
        Operation("POST", "/colours", "create-colour", "Mix a colour", "colour:create", create_colour,
                  body=NewColour, answer=Colour, status=201, example={"name": "teal"}),
        Operation("GET", "/colours", "list-colours", "Colours, by any filter", "colour:read", list_colours,
                  query=ColourQuery, answer=Colour),
    )

Its line in `resources.py` makes the routes and the OpenAPI document know it. Rules for handlers:

- Do through `call.door` what policy does; a handler translates, it does not decide. `call.actor` is who asks.
- An object that the caller may not see is answered in the very words of one that does not exist:
  `call.actor.find("colour:change", found, owned, missing)`, best in the use case of policy. Lists leave out what
  `call.actor.reaches("colour:read", owned)` does not reach.
- Before changing an object call `call.match(version)`; answer with its new `version`. Both make ETag and If-Match work.
- A mistake in a field is `Invalid(FieldError("/name", "rule", "sentence", nearest))`; several at once are said at once.
  For problems that policy raises, `pointers={"bad-csr": "/csr"}` says which field they are about.
- `after` is the key of the last item of the page before; clients only ever see signed cursors.
- A new permission ("colour:create") is added to policy/roles.py, where roles are.
"""

from __future__ import annotations

from protocols.endpoint import ProtocolDescription
from protocols.rest.endpoint import RESTEndpoint
from protocols.rest.kits import KITS
from protocols.rest.problems import STATUS
from protocols.rest.settings import CREDENTIAL_FORM, RESTSettings, check_mount

PROTOCOL = ProtocolDescription(
    name="rest",
    documents=("RFC 9457", "RFC 6750", "RFC 8288", "RFC 9110", "OpenAPI 3.1"),
    settings=RESTSettings,
    factory=RESTEndpoint,
    problems=STATUS,
    credential_form=CREDENTIAL_FORM,
    kits=KITS,
    check_mount=check_mount,
)
