"""Lacking: a machine without everything tests what it can; CI tests all."""

from __future__ import annotations

import pytest

from tests import servers
from tests.lacking import package


def test_what_is_missing_is_skipped_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI whose installation has broken would stay green and show nothing."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no_such_package"):
        package("no_such_package")
    with pytest.raises(pytest.skip.Exception, match="install it"):
        servers.needed("no-such-program", to_install="install it")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no_such_package"):
        package("no_such_package")
    with pytest.raises(pytest.fail.Exception, match="install it"):
        servers.needed("no-such-program", to_install="install it")
