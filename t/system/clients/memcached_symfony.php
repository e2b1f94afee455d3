<?php
// Symfony's MemcachedAdapter, whose DSN turns the binary protocol on.
require __DIR__ . '/checks.php';
require __DIR__ . '/symfony_behaviours.php';
require 'Symfony/Component/Cache/autoload.php';

use Symfony\Component\Cache\Adapter\MemcachedAdapter;

foreach (["unix socket" => "memcached://$argv[1]", "TCP" => "memcached://127.0.0.1:$argv[2]"] as $way => $dsn) {
    $client = MemcachedAdapter::createConnection($dsn);
    $pool = new MemcachedAdapter($client, str_replace(' ', '', $way), 0);

    check("$way: binary", fn () => same(1, (int) $client->getOption(Memcached::OPT_BINARY_PROTOCOL)));
    check_symfony_basics($way, $pool, false);
    check("$way: clear", function () use ($pool) {
        same(true, $pool->clear());
        same(false, $pool->hasItem('m50'));
    });
}
