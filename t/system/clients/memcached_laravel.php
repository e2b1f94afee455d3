<?php
// Laravel's memcached store and its locks, as its connector configures the client.
require __DIR__ . '/checks.php';
require __DIR__ . '/laravel_behaviours.php';
require 'Illuminate/autoload.php';

use Illuminate\Cache\MemcachedConnector;
use Illuminate\Cache\MemcachedStore;
use Illuminate\Cache\Repository;

$servers = [['host' => $argv[1], 'port' => 0, 'weight' => 100]];
foreach (['text' => [], 'binary' => [Memcached::OPT_BINARY_PROTOCOL => true]] as $way => $options) {
    $store = new MemcachedStore((new MemcachedConnector())->connect($servers, null, $options), "app_$way");
    $cache = new Repository($store);

    check_laravel_basics($way, $cache);
    check("$way: many", function () use ($cache) {
        same(true, $cache->putMany(['a' => 1, 'b' => 'two'], 60));
        same(['a' => 1, 'b' => 'two', 'nope' => null], $cache->many(['a', 'b', 'nope']));
    });
    check("$way: counters", function () use ($cache) {
        $cache->put('n', 1, 60);
        same(5, $cache->increment('n', 4));
        same(3, $cache->decrement('n', 2));
    });
    check_laravel_locks($way, $store);
    check_laravel_tags($way, $cache);
    check_laravel_clear($way, $cache);
}
