"""Where the page's runs are done: in a process of their own, on a ZeroGPU, or in this process.

In go an order (`orders.Order`), a function that is told news, and one that says whether to stop;
out comes how it ended (`news`). Everything that crosses can be pickled. `work` is the same in all
places: it loads the model, does what is ordered and tells of it. `places` says which place it is:
`worker` (the usual one; `process` is its other side), `zero` where `SPACES_ZERO_GPU` is set, or
this process with `TEXTLOC_WORKER=0`. Another place is a function like `worker.run`.
"""
