from __future__ import annotations

import keys
from headcount_spec import blind_rsa


def test_a_token_is_issued_end_to_end(world, person):
    scope = world.open()
    someone = person(scope, "a")
    answer = world.sign(world.prove(scope, "ada@example.org"), someone.request)
    assert answer.status_code == 200
    assert answer.content_type == "application/private-token-response"
    authenticator = someone.finalize(answer.get_data())
    blind_rsa.verify(keys.token_key(0).public, someone.token_input, authenticator)
