"""Real packages in real systems: clean roots of Debian, a booted systemd, whole machines."""
