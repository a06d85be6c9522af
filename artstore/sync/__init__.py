"""How they travel: what is committed here gets to other places, and what is committed there comes here.

Nothing below this floor knows of it: without it artstore works as it does with it, on one machine.
"""
