package virtualcard

import (
	"encoding/binary"
	"slices"
)

// file is where an object is: the file's identifier and the object's in it.
type file struct{ file, object uint16 }

// The objects that are there, by the GIDS specification and, for those of the
// minidriver's file system, by where Microsoft's and OpenSC's software looks.
var (
	pinStatus  = file{0x3FFF, 0x7F71}
	masterFile = file{0xA000, 0xDF1F}
	cardID     = file{0xA012, 0xDF20}
	cacheFile  = file{0xA010, 0xDF22}
	containers = file{0xA010, 0xDF23}
)

// getData gives an object: GET DATA of an extended header list with one tag.
func (c *Card) getData(cmd command) ([]byte, Status) {
	d := cmd.data
	if len(d) != 4 || d[0] != 0x5C || d[1] != 2 {
		return nil, DataInvalid
	}
	at := file{uint16(cmd.p1)<<8 | uint16(cmd.p2), binary.BigEndian.Uint16(d[2:])}
	var content []byte
	switch at {
	case pinStatus:
		content = []byte{0x9F, 0x17, 1, byte(c.PINLeft), 0x93, 1, byte(c.PINTries)} //nolint:gosec // at most 15
	case masterFile:
		content = directory()
	case cardID:
		content = make([]byte, 16)
		copy(content, c.memory.Serial)
	case cacheFile:
		content = make([]byte, 6)
	case containers:
		content = make([]byte, 86) // one that is not in use
	default:
		return nil, NoReference
	}
	head := binary.BigEndian.AppendUint16(nil, at.object)
	if len(content) > 127 {
		head = append(head, 0x81)
	}
	return slices.Concat(head, []byte{byte(len(content))}, content), OK //nolint:gosec // at most 255
}

// directory is the master file: a version, then a record of 28 bytes for each file.
func directory() []byte {
	out := []byte{1}
	for _, f := range []struct {
		directory, name string
		at              file
	}{
		{"", "cardid", cardID},
		{"", "cardcf", cacheFile},
		{"mscp", "cmapfile", containers},
	} {
		record := make([]byte, 28)
		copy(record[:9], f.directory)
		copy(record[9:18], f.name)
		binary.LittleEndian.PutUint32(record[20:], uint32(f.at.object))
		binary.LittleEndian.PutUint32(record[24:], uint32(f.at.file))
		out = append(out, record...)
	}
	return out
}
