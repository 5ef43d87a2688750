"""An exported policy on a Cortex-M7: built, flown in QEMU, its numbers compared, its instructions and bytes counted."""
