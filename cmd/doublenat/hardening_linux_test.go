package main

import "syscall"

// confined returns how to start a process that sees one directory only, as the user
// of the container image. A process that is not root's has no capabilities.
func confined(root string) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}
