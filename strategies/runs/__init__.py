"""Long work on past bars: asked for at a door, done by workers in pieces, kept as a row.

create     a wish becomes a run with its chunks, within the limits of a person
claim      which piece is next, and whose: by compare-and-swap, so that no two workers do the same
work       do what is waiting, beat while it is done, put the answer together, or say why there is none
cancel     ends at once; the worker hears of it within a second
tidy       old runs go by the house's rule
packing    arrays and text as a few bytes
answers    what is stored of a run, read back
studies    what each kind of run plans, does and concludes
"""
