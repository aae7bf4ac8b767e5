"""The scheduler process: enqueues what is to be done at its time, and does none of it. One of them leads."""
