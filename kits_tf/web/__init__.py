"""A local web page to segment scans, for those who don't use a terminal: python -m kits_tf.web.

    __main__.py   flags, and the server process
    guard.py      which requests are answered: Host, Origin, token
    app.py        the HTTP interface
    upload.py     a multipart request -> files on disk, under limits
    unpack.py     a zip -> files on disk, under limits
    recognize.py  files -> the one scan among them
    scans.py      the scans that the server keeps on disk and in memory, and their deletion
    runner.py     the queue: one scan at a time
    worker.py     the process that holds the model; child.py is its other end
    static/       the page

Only the worker imports TensorFlow. It may be killed, or crash, at any time.
"""
