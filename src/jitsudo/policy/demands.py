"""What a person has to do before what is allowed happens: prove who they are, then confirm what guardrails ask."""

from __future__ import annotations

from collections.abc import Sequence

from jitsudo.policy.guardrails import GuardrailFinding
from jitsudo.policy.model import DEFAULT_WITHIN, AgentProof, Authentication, Never, Role, Within
from jitsudo.policy.verdict import Challenge, Circumstances

_DEFAULT = Within(DEFAULT_WITHIN)


def challenge(role: Role, fired: Sequence[GuardrailFinding], circumstances: Circumstances) -> Challenge | None:
    """The next thing to do; None if nothing is left. `fired` are the guardrails that fired, by name."""
    demanding = next((one for one in fired if one.guardrail.then == "authenticate"), None)
    proof = _DEFAULT if isinstance(role.authenticate, Never) else role.authenticate
    if demanding is not None and not (circumstances.proven_now and is_proven(proof, circumstances)):
        name = demanding.guardrail.name
        return Challenge("authenticate", demanding.message, role.name, proof, fresh=True, guardrail=name)
    if not is_proven(role.authenticate, circumstances):
        message = f"role {role.name} asks who you are"
        return Challenge("authenticate", message, role.name, proof)
    for one in fired:
        if one.guardrail.then == "confirm" and one.guardrail.name not in circumstances.confirmed:
            return Challenge("confirm", one.message, role.name, guardrail=one.guardrail.name)
    return None


def is_proven(authentication: Authentication, circumstances: Circumstances) -> bool:
    """Whether the proof that is asked for was given, and recently enough. One kind does not stand for the other."""
    if isinstance(authentication, Never):
        return True
    if isinstance(authentication, AgentProof):
        return circumstances.agent is not None and 0 <= circumstances.agent <= DEFAULT_WITHIN
    return circumstances.authenticated is not None and 0 <= circumstances.authenticated <= authentication.seconds
