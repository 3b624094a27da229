"""What the tests of archives share: pictures, settings, rows, and Dask's processes."""
