"""A queue that outlives the process: items of bytes on the disk until they are done."""
