"""The edge on a Pi's processor, without a Pi: Debian's arm64 userland and aarch64 wheels, under qemu's emulation."""
