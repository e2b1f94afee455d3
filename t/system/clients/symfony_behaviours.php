<?php
// What Symfony's cache pools do on every adapter, for the suites of its adapters.

use Psr\Cache\CacheItemPoolInterface;

// $ordered: getItems() gives items in the order of the keys.
function check_symfony_basics(string $name, CacheItemPoolInterface $pool, bool $ordered): void
{
    check("$name: get set delete", function () use ($pool) {
        $computed = 0;
        $compute = function ($item) use (&$computed) {
            $item->expiresAfter(60);
            return ['n' => ++$computed];
        };
        same(['n' => 1], $pool->get('k', $compute));
        same(['n' => 1], $pool->get('k', $compute));
        same(true, $pool->hasItem('k'));
        same(false, $pool->hasItem('none'));
        same(true, $pool->delete('k'));
        same(['n' => 2], $pool->get('k', $compute));
    });
    check("$name: many", function () use ($pool, $ordered) {
        foreach (range(1, 50) as $i) {
            $pool->saveDeferred($pool->getItem("m$i")->set($i)->expiresAfter($i % 2 ? 60 : null));
        }
        same(true, $pool->commit());
        $values = [];
        foreach ($pool->getItems(['m1', 'm50', 'nope']) as $key => $item) {
            $values[$key] = $item->get();
        }
        if (!$ordered) {
            ksort($values);
        }
        same(['m1' => 1, 'm50' => 50, 'nope' => null], $values);
        same(true, $pool->deleteItems(['m1', 'm2']));
        same(false, $pool->hasItem('m1'));
    });
}
