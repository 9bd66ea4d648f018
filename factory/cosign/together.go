package cosign

import "sync"

// width is how many pieces of work are waited for at once: key services, logs and registries answer slowly.
const width = 4

// together does work side by side and returns the results in order, or the first error in order.
func together[T any](work []func() (T, error)) ([]T, error) {
	results, errs := make([]T, len(work)), make([]error, len(work))
	var group sync.WaitGroup
	places := make(chan struct{}, width)
	for i, f := range work {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			results[i], errs[i] = f()
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}
