//! Attachment: references, grants and status of Gateways and Routes, pure and incremental.
