#!/bin/sh
# Nothing is left to do: Alpine never removes users, for others could get their numbers. nfpm would take the script of
# the other packages if this one was missing.
exit 0
