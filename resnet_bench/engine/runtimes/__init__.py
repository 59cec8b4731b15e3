"""Other runtimes than torch: a network exported once, then loaded by each of them.

A runtime is one file here, named as its row in `catalogue.RUNTIMES`, with a function
`load`.
"""
