"""Files and folders: atomic writes, locks, checksums, and the layout of run and export folders."""
