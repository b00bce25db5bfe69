"""Jobs and results of the workers that run a vendor's own route: one .npz file each, ``<job>/<field>``; needs numpy alone."""

import sys
import traceback

import numpy as np


def serve(run):
    """Run every job of the file ``sys.argv[1]`` and write the results to ``sys.argv[2]``.

    ``run`` takes a job as a dict of arrays and returns one.  A job that raises has the one result ``refused``: the error's type
    and text, and where it was raised.
    """
    source, target = sys.argv[1:]
    jobs, results = {}, {}
    with np.load(source) as data:
        for key in data.files:
            name, field = key.split("/")
            jobs.setdefault(name, {})[field] = data[key]
    for name, job in jobs.items():
        try:
            found = run(job)
        except Exception as failure:
            where = traceback.extract_tb(failure.__traceback__)[-1]
            found = {"refused": f"{type(failure).__name__} in {where.name}: {failure}"}
        results |= {f"{name}/{field}": value for field, value in found.items()}
    np.savez(target, **results)
