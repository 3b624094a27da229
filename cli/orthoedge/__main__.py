"""`python -m orthoedge`, the same as `orthoedge`; installed into the namespace itself."""

import sys

from orthoedge.cli.main import main

sys.exit(main())
