//! The workload side: watches Gateways and Routes, writes claims and routes for the platform, and status back.
