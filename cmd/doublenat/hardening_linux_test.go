package main

import (
	"os"
	"syscall"
)

// confined returns how to start a process that sees one directory only, as the user
// of the container image. A process that is not root's has no capabilities. Who is
// not root gets that user's number, and the right to confine it, in a namespace of users.
func confined(root string) *syscall.SysProcAttr {
	const nobody = 65534
	attr := &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if os.Geteuid() != 0 {
		attr.Cloneflags = syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}
