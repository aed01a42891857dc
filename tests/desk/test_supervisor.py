"""What `manage.py desk` says in one line when it cannot start. How it starts, heals and stops: test_first_start."""

import socket
from collections.abc import Iterator

import pytest

from tests.flows.desk_process import DeskProcess, desk_process, free_port


@pytest.fixture
def desk() -> Iterator[DeskProcess]:
    with desk_process() as desk:
        yield desk


def test_a_taken_port_is_one_line(desk):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in (said := desk.refuse(PORT=str(port)))
        assert "PORT=" in said
        assert "make run" in said


def test_a_folder_that_cannot_be_written_is_one_line(desk):
    assert "set TARAZU_VAR" in desk.refuse(TARAZU_VAR="/proc/nowhere")


def test_half_of_the_servers_is_one_line(desk):
    assert "only one of DATABASE_URL and REDIS_URL" in desk.refuse(REDIS_URL="redis://127.0.0.1:1")


def test_a_database_that_does_not_answer_is_one_line(desk):
    said = desk.refuse(REDIS_URL="redis://127.0.0.1:1", DATABASE_URL=f"postgres://a@127.0.0.1:{free_port()}/x")
    assert "DATABASE_URL" in said
