//! xDS: delta and state-of-the-world server, client, and make-before-break ordering.
