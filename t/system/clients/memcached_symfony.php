<?php
// Symfony's MemcachedAdapter, whose DSN turns the binary protocol on.
require __DIR__ . '/checks.php';
require 'Symfony/Component/Cache/autoload.php';

use Symfony\Component\Cache\Adapter\MemcachedAdapter;

foreach (["unix socket" => "memcached://$argv[1]", "TCP" => "memcached://127.0.0.1:$argv[2]"] as $way => $dsn) {
    $client = MemcachedAdapter::createConnection($dsn);
    $pool = new MemcachedAdapter($client, str_replace(' ', '', $way), 0);

    check("$way: binary", fn () => same(1, (int) $client->getOption(Memcached::OPT_BINARY_PROTOCOL)));
    check("$way: get set delete", function () use ($pool) {
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
    check("$way: many", function () use ($pool) {
        foreach (range(1, 50) as $i) {
            $pool->saveDeferred($pool->getItem("m$i")->set($i)->expiresAfter($i % 2 ? 60 : null));
        }
        same(true, $pool->commit());
        $values = [];
        foreach ($pool->getItems(['m1', 'm50', 'nope']) as $key => $item) {
            $values[$key] = $item->get();
        }
        ksort($values);
        same(['m1' => 1, 'm50' => 50, 'nope' => null], $values);
        same(true, $pool->deleteItems(['m1', 'm2']));
        same(false, $pool->hasItem('m1'));
    });
    check("$way: clear", function () use ($pool) {
        same(true, $pool->clear());
        same(false, $pool->hasItem('m50'));
    });
}
