<?php
require __DIR__ . '/checks.php';
require __DIR__ . '/laravel_behaviours.php';
require 'Illuminate/autoload.php';
require 'Predis/autoload.php';

use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;
use Illuminate\Container\Container;
use Illuminate\Redis\RedisManager;

$connections = [
    'phpredis' => ['host' => $argv[1], 'port' => 0, 'database' => 1],
    'predis' => ['scheme' => 'unix', 'path' => $argv[1], 'database' => 1],
];

function store_of(string $driver, array $connection): RedisStore
{
    $manager = new RedisManager(new Container(), $driver, ['options' => ['prefix' => 'app_'], 'cache' => $connection]);

    return new RedisStore($manager, 'cache:', 'cache');
}

foreach ($connections as $driver => $connection) {
    $store = store_of($driver, $connection);
    $cache = new Repository($store);

    check_laravel_basics($driver, $cache);
    check("$driver: many", function () use ($cache) {
        same(true, $cache->putMany(['a' => 1, 'b' => 'two'], 60));
        same(['a' => '1', 'b' => 'two', 'nope' => null], array_map(fn ($v) => $v === 1 ? '1' : $v, $cache->many(['a', 'b', 'nope'])));
    });
    check("$driver: counters", function () use ($cache) {
        same(1, $cache->increment('n'));
        same(5, $cache->increment('n', 4));
        same(3, $cache->decrement('n', 2));
    });
    check_laravel_locks($driver, $store);
    check_laravel_clear($driver, $cache);
    // On a connection of its own: phpredis loses its place in the stream after an error reply to SSCAN.
    $tagged = new Repository(store_of($driver, $connection));
    check_laravel_tags($driver, $tagged);
}
