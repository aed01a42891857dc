#!/usr/bin/env python
"""The desk's command line. Without DATABASE_URL it finds, or starts for as long as it runs, the embedded servers."""

import os
import sys


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trading.settings.dev")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line

        from trading.desk.doorway import servers_for
        from trading.desk.errors import DeskError
        from trading.domain.heap import hold_collector
    except ImportError as error:
        print(f"{error}: run `make setup`, then start with .venv/bin/python manage.py", file=sys.stderr)
        return 2
    try:
        with servers_for(sys.argv):
            hold_collector()  # until all apps are loaded: DeskConfig.ready
            execute_from_command_line(sys.argv)
    except (DeskError, ImproperlyConfigured) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
