package dataset

import "errors"

// errTooMany ends a scan whose list of problems is full.
var errTooMany = errors.New("too many problems")

// problems is a bounded list of what is wrong with a data set.
type problems struct {
	max  int
	list []error
}

// add notes an error and says whether the list is now full.
func (p *problems) add(err error) (full bool) {
	if !errors.Is(err, errTooMany) && len(p.list) < p.max {
		p.list = append(p.list, err)
	}
	return len(p.list) >= p.max
}

// first is the first problem, or nil.
func (p *problems) first() error {
	if len(p.list) == 0 {
		return nil
	}
	return p.list[0]
}
