package strict_test

import (
	"fmt"

	"example.com/secgroup/sg/dialect/strict"
)

func ExampleProfile() {
	p := strict.Profile()
	fmt.Println(p.Name, "unattached:", p.Unattached, "empty direction:", p.EmptyDirection, "platform rules:", len(p.Platform))
	// Output:
	// strict unattached: drop empty direction: drop platform rules: 0
}
