package guest

import (
	"bytes"
	"fmt"
	"io/fs"
)

// File is one entry of a guest's root file system. The type bits of Mode are its type.
// Data is the content, or the target of a symbolic link.
type File struct {
	Path string // without a leading slash
	Mode fs.FileMode
	Data []byte
}

// cpio returns an archive in the format "newc", which the kernel unpacks at boot. All
// entries belong to root and have no time, so the same files give the same bytes.
func cpio(files []File) []byte {
	var b bytes.Buffer
	for i, f := range files {
		entry(&b, i+1, f)
	}
	entry(&b, 0, File{Path: "TRAILER!!!"})
	return b.Bytes()
}

func entry(b *bytes.Buffer, inode int, f File) {
	// magic, inode, mode, uid, gid, links, mtime, size, 4 device numbers, name's length, checksum
	fmt.Fprintf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		inode, unixMode(f.Mode), 0, 0, 1, 0, len(f.Data), 0, 0, 0, 0, len(f.Path)+1, 0)
	b.WriteString(f.Path)
	b.WriteByte(0)
	pad(b)
	b.Write(f.Data)
	pad(b)
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

func unixMode(m fs.FileMode) uint32 {
	const directory, link, regular = 0o040000, 0o120000, 0o100000
	mode := uint32(m.Perm())
	switch {
	case m.IsDir():
		return mode | directory
	case m&fs.ModeSymlink != 0:
		return mode | link
	}
	return mode | regular
}
