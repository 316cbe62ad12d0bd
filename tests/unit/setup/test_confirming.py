"""What proves that jitsudo lets people in, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jitsudo.errors import Denied, WrongState
from jitsudo.setup.caller import Caller
from jitsudo.setup.confirming import prove
from jitsudo.setup.state import NO_SESSION, Mode, SetupState
from jitsudo.setup.sudoconf import FrontEnd

STATE = SetupState(Mode.UNCONFIRMED, FrontEnd.NATIVE, session=7, tty="136:2", by="alice")
THROUGH = Caller(uid=0, login_uid=1000, session=8, tty="136:3", jitsudo_session="S-AAAAAAAA")


def test_another_login_that_became_root_through_jitsudo_proves_it() -> None:
    """The very thing that is to be shown."""
    assert "through jitsudo" in prove(STATE, THROUGH)


def test_a_login_as_root_proves_that_root_gets_in() -> None:
    """No front end keeps root from it."""
    root = replace(THROUGH, login_uid=0, jitsudo_session=None)
    assert "login as root" in prove(STATE, root)


def test_whoever_enabled_it_outside_of_any_login_any_login_confirms_it() -> None:
    """cloud-init or a unit enabled it."""
    assert prove(replace(STATE, session=NO_SESSION, tty="none"), THROUGH)


NOTHING_PROVEN = {
    "the login that enabled it": replace(THROUGH, session=7),
    "no login": replace(THROUGH, session=NO_SESSION),
    "nobody logged in": replace(THROUGH, login_uid=None),
    "root by another way": replace(THROUGH, jitsudo_session=None),
    "not root": replace(THROUGH, uid=1000),
    "root's login that enabled it": replace(THROUGH, login_uid=0, session=7),
}


@pytest.mark.parametrize("name", NOTHING_PROVEN)
def test_what_proves_nothing_is_refused_and_what_is_wanted_is_said(name: str) -> None:
    """The hint is a command to type."""
    with pytest.raises(Denied) as caught:
        prove(STATE, NOTHING_PROVEN[name])
    assert "jitsudo setup confirm" in str(caught.value.hint)


def test_two_logins_without_a_terminal_are_two() -> None:
    """Ansible has none: `none` is no terminal that they share."""
    assert prove(replace(STATE, tty="none"), replace(THROUGH, tty="none"))


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.OBSERVE, Mode.ENABLED])
def test_what_does_not_wait_cannot_be_confirmed(mode: Mode) -> None:
    """Twice, or after everything was put back."""
    with pytest.raises(WrongState):
        prove(replace(STATE, mode=mode), THROUGH)


def test_with_pam_the_way_is_su() -> None:
    """sudo is not what stands in front there."""
    with pytest.raises(Denied) as caught:
        prove(replace(STATE, front_end=FrontEnd.PAM), replace(THROUGH, session=7))
    assert "su root" in str(caught.value.hint)
