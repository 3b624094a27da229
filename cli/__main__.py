"""`python -m orthoedge.cli`, the same as `orthoedge`."""

import sys

from orthoedge.cli.main import main

sys.exit(main())
