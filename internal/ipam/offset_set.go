package ipam

import "math/bits"

// offsetSet is a set of offsets. It finds the next offset that is not in the set
// in a time that does not depend on the set's size: it is a tree of 64-bit words,
// in which a bit of an upper level means that the whole word below is full.
type offsetSet struct{ levels [levels]map[uint64]uint64 }

// Eleven levels of six bits cover 64-bit offsets.
const levels = 11

func (u *offsetSet) add(x uint64) {
	for l := range u.levels {
		if u.levels[l] == nil {
			u.levels[l] = map[uint64]uint64{}
		}
		u.levels[l][x>>6] |= bit(x)
		if u.levels[l][x>>6] != ^uint64(0) {
			return
		}
		x >>= 6
	}
}

func (u *offsetSet) remove(x uint64) {
	for l := range u.levels {
		word := u.levels[l][x>>6]
		wasFull := word == ^uint64(0)
		if word &^= bit(x); word == 0 {
			delete(u.levels[l], x>>6)
		} else {
			u.levels[l][x>>6] = word
		}
		if !wasFull {
			return
		}
		x >>= 6
	}
}

// next returns the first offset from x on that is not in the set; false if there
// is none.
func (u *offsetSet) next(x uint64) (uint64, bool) {
	for l := range levels {
		free := ^u.levels[l][x>>6] & (^uint64(0) << (x & 63))
		if free != 0 {
			return u.descend(l, x&^63|uint64(bits.TrailingZeros64(free)))
		}
		// This word has no free offset from x on: continue at the next word, one level
		// up.
		if x = x>>6 + 1; x > ^uint64(0)>>(6*(l+1)) {
			return 0, false
		}
	}
	return 0, false
}

// descend returns the first free offset below position x of level l, which must
// not be full.
func (u *offsetSet) descend(l int, x uint64) (uint64, bool) {
	for l > 0 {
		l--
		x = x<<6 | uint64(bits.TrailingZeros64(^u.levels[l][x]))
	}
	return x, true
}

func bit(x uint64) uint64 { return 1 << (x & 63) }
