import pytest

from injector.cli.egress import COMMANDS, main


def test_each_command_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out and module.WHAT in out for name, module in COMMANDS.items())


def test_no_command_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["invent"]):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 2
