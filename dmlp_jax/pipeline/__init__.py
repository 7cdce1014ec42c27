"""The five stages of a run, from images to a report."""
