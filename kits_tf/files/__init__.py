"""Files and folders: atomic writes, locks and checksums; the folders of training runs and of exports."""
