package main

import (
	"errors"
	"fmt"
)

// cabling is the wires of one worker: one on which the others reach it, and one for all that it dials.
type cabling struct {
	bind    string
	in, out *wire
}

func newCabling() (_ *cabling, err error) {
	c := &cabling{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	c.bind = fmt.Sprintf("127.0.0.1:%d", ports[0])
	if c.in, err = newWire(c.bind); err != nil {
		return nil, err
	}
	c.out, err = newWire("")
	return c, err
}

// flags make a worker use the wires.
func (c *cabling) flags() []string {
	return []string{"--bind", c.bind, "--advertise", c.in.address(), "--wire", c.out.address()}
}

// silence cuts the worker off, or ends that.
func (c *cabling) silence(on bool) {
	c.in.silence(on)
	c.out.silence(on)
}

// close may be called on nil, for a worker without wires.
func (c *cabling) close() error {
	if c == nil {
		return nil
	}
	var err error
	for _, w := range []*wire{c.in, c.out} {
		if w != nil {
			err = errors.Join(err, w.close())
		}
	}
	return err
}
