package allreduce

// Pipeline sums buckets one after another, and works on others meanwhile: while one travels, the one before it is finished and a later one made ready, so that
// neither waits for the other, and a bucket is used again while it is still in a cache.
type Pipeline struct {
	Buckets int // their numbers are 0..Buckets-1
	// Ahead is how many of them, at least 1, may be under way at a time, from Before to After: bucket b may use the room of bucket b-Ahead.
	Ahead int
	// Before makes a bucket ready, Sum sums it over members, and After does what follows. All are called for one bucket after another, in order; Sum by
	// the caller, the others by one other goroutine. Before and After may be nil. After the first error nothing more begins.
	Before, Sum, After func(b int) error
}

// Run returns when all buckets have been finished, or with the first error when nothing runs any more.
func (p *Pipeline) Run() error {
	// Neither send below ever waits: at most Ahead buckets are under way.
	ready, summed, beside := make(chan int, p.Ahead), make(chan int, p.Ahead), make(chan error, 1)
	go func() { beside <- p.beside(ready, summed) }()
	var err error
	for b := range ready {
		if err = p.Sum(b); err != nil {
			break
		}
		summed <- b
	}
	close(summed)
	if other := <-beside; err == nil {
		err = other
	}
	return err
}

// beside makes buckets ready and finishes those that are summed, which come first: they are what is in the cache.
func (p *Pipeline) beside(ready chan<- int, summed <-chan int) error {
	defer close(ready)
	for begun, done := 0, 0; done < p.Buckets; {
		b, some := 0, true
		if begun < p.Buckets && begun-done < p.Ahead {
			select {
			case b, some = <-summed:
			default:
				if err := call(p.Before, begun); err != nil {
					return err
				}
				ready <- begun
				begun++
				continue
			}
		} else {
			b, some = <-summed
		}
		if !some {
			return nil // a sum failed
		}
		if err := call(p.After, b); err != nil {
			return err
		}
		done++
	}
	return nil
}

func call(do func(b int) error, b int) error {
	if do == nil {
		return nil
	}
	return do(b)
}
