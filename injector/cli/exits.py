"""With what status the verbs end, so that a script can tell findings from a tool that did not work: those of istioctl and sysexits.h."""

UNKNOWN = 1     # it did not work; a line on standard error says why
USAGE = 64      # it was called wrongly
DATA = 65       # a document that was given is not valid
FINDINGS = 79   # it worked, and found what should not be
