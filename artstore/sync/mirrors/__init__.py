"""Mirrors: a depot that has a log as it stands elsewhere, and beside it what waits for the upstream.

mirror       the place
pages        what its objects say
said         what is said beside its pages
way          between one project of a store and a mirror
to_mirror    push: slots go there as they are counted here, and all that no upstream has yet
offer        what waits here goes there with it
free         gc: bytes go that nothing there needs
from_mirror  pull: slots count as they do from the upstream, and what waits in others waits here too
"""
