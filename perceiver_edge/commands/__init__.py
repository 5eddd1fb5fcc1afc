"""What people type: each command's options, and what all of them print.

May know every other room; no other room knows this one. `perceiver_edge.convert` and its siblings are doors to here.
"""

import sys

from perceiver_edge.errors import BadInputError
from perceiver_edge.installation import require_python

try:
    require_python()  # before a module here is read that the old one cannot read
except BadInputError as error:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code) from None
