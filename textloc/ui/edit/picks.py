"""Picks in an edit (`results.picks.edit`), and what a link says of one."""

from textloc.results.picks.edit import LOCALIZED as LOCALIZED
from textloc.results.picks.edit import Way as Way
from textloc.results.picks.edit import choices as choices
from textloc.results.picks.edit import entries as entries
from textloc.results.picks.edit import nearest as nearest
from textloc.results.picks.edit import pick_of_click as pick_of_click
from textloc.results.picks.edit import start_pick as start_pick
from textloc.results.picks.edit import usual_pick as usual_pick
from textloc.ui.plain_picks import meant as meant
from textloc.ui.plain_picks import said as said
from textloc.ui.plain_picks import usual_pair as usual_pair
